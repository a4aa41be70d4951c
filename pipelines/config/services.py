"""Sections `lake`, `ray`, `spark`, `mlflow` and `gate`: where a run stores and computes."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from pipelines.config.secret import Address, without_credentials
from pipelines.config.section import Section


class LakeConfig(Section):
    """Where the tables are."""

    uri: str = "restem-data/lake"
    """Folder or object store (s3://, gs://, abfs://)."""
    storage_options: dict[str, SecretStr] = {}
    """delta-rs's options for an object store; values may be keys, so they are never stored."""
    retention_days: int = Field(3650, ge=8)
    """Days for which earlier versions of a table can be read; set when the table is created."""
    reuse: bool = True
    """Take samples and verdicts from other runs of the lake where they would be the same."""

    @model_validator(mode="after")
    def _has_no_credentials(self) -> Self:
        if without_credentials(self.uri) != self.uri:
            raise ValueError(
                "uri must have no user, password or query, since it is stored with the tables; "
                "give them in lake.storage_options"
            )
        return self


class RayConfig(Section):
    """The Ray cluster."""

    address: Address | None = None
    """null: RAY_ADDRESS, else a cluster started on this machine for the run."""
    object_store_mb: int = Field(200, ge=80)
    """Size of the object store of a cluster started here."""
    num_cpus: int | None = Field(None, ge=1)
    """Number of cores of a cluster started here; null: all."""


class SparkConfig(Section):
    """The Spark cluster: a classic master, or a Spark Connect server."""

    master: str = "local[*]"
    remote: Address | None = None
    """Spark Connect server (sc://host:port), in place of `master`; a token in it is not stored."""
    driver_memory: str = "2g"
    shuffle_partitions: int | None = Field(None, ge=1)
    """null: 2 on a local master, Spark's default elsewhere."""
    conf: dict[str, SecretStr] = {}
    """Further Spark settings; values may be keys, so they are never stored."""


class MLflowConfig(Section):
    """The tracking server."""

    enabled: bool = True
    tracking_uri: Address = "sqlite:///restem-data/mlflow.db"
    """A password in it is not stored; MLFLOW_TRACKING_USERNAME and _PASSWORD work as well."""
    experiment: str = "restem"


class GateConfig(Section):
    """Where expectations are checked."""

    max_pandas_rows: int = Field(200_000, ge=0)
    """Larger tables are checked and committed in Spark, the others in pandas and delta-rs."""
