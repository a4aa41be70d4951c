"""Sections `lake`, `ray`, `spark`, `mlflow` and `gate`: where a run stores and computes."""

from __future__ import annotations

from pydantic import Field

from pipelines.config.section import Section


class LakeConfig(Section):
    """Where the tables are."""

    uri: str = "restem-data/lake"
    """Folder or object store (s3://, gs://, abfs://)."""
    storage_options: dict[str, str] = {}
    """delta-rs's options for an object store; values may be keys, so they are never stored."""
    retention_days: int = Field(3650, ge=8)
    """Days for which earlier versions of a table can be read; set when the table is created."""


class RayConfig(Section):
    """The Ray cluster."""

    address: str | None = None
    """null: RAY_ADDRESS, else a cluster started on this machine for the run."""
    object_store_mb: int = Field(200, ge=80)
    """Size of the object store of a cluster started here."""
    num_cpus: int | None = Field(None, ge=1)
    """Number of cores of a cluster started here; null: all."""


class SparkConfig(Section):
    """The Spark cluster: a classic master, or a Spark Connect server."""

    master: str = "local[*]"
    remote: str | None = None
    """Spark Connect server (sc://host:port), in place of `master`."""
    driver_memory: str = "2g"
    shuffle_partitions: int | None = Field(None, ge=1)
    """null: 2 on a local master, Spark's default elsewhere."""
    conf: dict[str, str] = {}
    """Further Spark settings; values may be keys, so they are never stored."""


class MLflowConfig(Section):
    """The tracking server."""

    enabled: bool = True
    tracking_uri: str = "sqlite:///restem-data/mlflow.db"
    experiment: str = "restem"


class GateConfig(Section):
    """Where expectations are checked."""

    max_pandas_rows: int = Field(200_000, ge=0)
    """Larger tables are checked and committed in Spark, the others in pandas and delta-rs."""
