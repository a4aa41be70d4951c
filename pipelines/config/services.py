"""The lake, the clusters, the tracker and the gate."""

from __future__ import annotations

from pydantic import Field

from pipelines.config.section import Section


class LakeConfig(Section):
    """Where the tables are."""

    uri: str = "restem-data/lake"
    """Folder or object store (s3://, gs://, abfs://)."""
    storage_options: dict[str, str] = {}
    """delta-rs's storage options for an object store."""
    retention_days: int = Field(3650, ge=8)


class RayConfig(Section):
    """The Ray cluster; null address: one started here for the run."""

    address: str | None = None
    object_store_mb: int = Field(200, ge=80)
    num_cpus: int | None = Field(None, ge=1)


class SparkConfig(Section):
    """The Spark cluster: a classic master, or a Spark Connect server in `remote`."""

    master: str = "local[*]"
    remote: str | None = None
    driver_memory: str = "2g"
    shuffle_partitions: int | None = Field(None, ge=1)
    """null: 2 on a local master, Spark's default elsewhere."""
    conf: dict[str, str] = {}


class MLflowConfig(Section):
    """The tracking server; the default is a file beside the lake."""

    enabled: bool = True
    tracking_uri: str = "sqlite:///restem-data/mlflow.db"
    experiment: str = "restem"


class GateConfig(Section):
    """Where expectations run."""

    max_pandas_rows: int = Field(200_000, ge=0)
    """Larger tables are checked and committed by Spark, smaller ones by pandas and delta-rs."""
