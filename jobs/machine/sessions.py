"""The only place that opens Spark or Ray: here, or on the clusters that the configuration names."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipelines.config import RayConfig, RunConfig, SparkConfig
from pipelines.errors import MachineError
from pipelines.lake.location import Location
from pipelines.runtime.cache import cache_folder
from pipelines.runtime.progress import Progress

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

_DELTA_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
}
_LOCAL_CONF = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.catalogImplementation": "in-memory",
    # Fifty tasks to read the log of a small table are most of a small commit's time.
    "spark.databricks.delta.snapshotPartitions": "1",
}
_LOCAL_SHUFFLE_PARTITIONS = 2
_LOCAL_JAVA_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_RAY_PORT, _MASTER_PORT, _CONNECT_PORT = 6379, 7077, 15002
_SUBMITTED = "PYSPARK_GATEWAY_PORT"
"""Set by spark-submit, which has started the driver's JVM already."""


class Sessions:
    """The sessions of a run, each opened when it is first asked for, closed at the end."""

    def __init__(self, config: RunConfig, progress: Progress) -> None:
        self._config, self._progress = config, progress
        self._open = ExitStack()
        self._spark: SparkSession | None = None
        self._has_ray = False
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    @property
    def log_folder(self) -> Path:
        """Where the engines' own words go."""
        return self._config.folder / "logs"

    def spark(self) -> SparkSession:
        """The Spark session; may be asked for from several threads.

        Raises:
            MachineError: Spark cannot start, or its cluster cannot be reached.
        """
        with self._lock:
            if self._spark is None:
                self._spark = spark_session(self._config.spark, self.log_folder)
                self._open.callback(self._spark.stop)
                if self._config.spark.remote is None:
                    require_file_system(self._spark, self._config.lake.uri)
            return self._spark

    def start_ray(self) -> None:
        """Start Ray, or connect to its cluster; nothing happens the second time.

        Raises:
            MachineError: Ray cannot start, or its cluster cannot be reached.
        """
        with self._lock:
            if not self._has_ray:
                self._open.enter_context(ray_session(self._config.ray))
                self._has_ray = True


def spark_session(config: SparkConfig, log_folder: Path) -> SparkSession:
    """Open Spark: in this process's own JVM, on a classic master, or through Spark Connect.

    Args:
        config: where, and with what settings.
        log_folder: the JVM's words go to `spark.log` in it.

    Raises:
        MachineError: no Java, no Delta jars, no such cluster, or too little memory.
    """
    if config.remote is not None:
        return _connect(config)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if _SUBMITTED not in os.environ:
        _prepare_java(config)
    log_folder.mkdir(parents=True, exist_ok=True)
    return _launch(spark_conf(config), log_folder / "spark.log")


def spark_conf(config: SparkConfig) -> dict[str, str]:
    """Spark's settings; the configuration's own come last.

    Raises:
        MachineError: Delta's jars were not resolved yet.
    """
    conf = dict(_DELTA_CONF)
    if config.shuffle_partitions is not None:
        conf["spark.sql.shuffle.partitions"] = str(config.shuffle_partitions)
    if _SUBMITTED in os.environ:
        # Master, memory and jars are what spark-submit was told.
        return {**conf, **config.conf}
    from jobs.machine.delta_jars import delta_jars

    jars = [str(jar) for jar in delta_jars()]
    conf |= {"spark.master": config.master, "spark.driver.memory": config.driver_memory}
    if config.master.startswith("local"):
        conf |= _LOCAL_CONF
        conf.setdefault("spark.sql.shuffle.partitions", str(_LOCAL_SHUFFLE_PARTITIONS))
        conf["spark.sql.warehouse.dir"] = str(cache_folder() / "spark-warehouse")
        conf["spark.driver.extraJavaOptions"] = _LOCAL_JAVA_OPTIONS
        # On the class path at once; as spark.jars each would be served and copied first.
        conf["spark.driver.extraClassPath"] = os.pathsep.join(jars)
    else:
        conf["spark.jars"] = ",".join(jars)
    return {**conf, **config.conf}


def require_file_system(session: SparkSession, uri: str) -> None:
    """Check that Spark has what it takes to reach a lake in an object store.

    Raises:
        MachineError: the store's connector is missing, or the store refuses Spark.
    """
    if Location.at(uri, {}).is_local:
        return
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]

    try:
        path = session._jvm.org.apache.hadoop.fs.Path(uri)
        path.getFileSystem(session._jsc.hadoopConfiguration()).exists(path)
    except Py4JError as error:
        java = getattr(error, "java_exception", None)
        reason = str(java or error).strip().splitlines()[0][:200]
        raise MachineError(
            f"lake.uri: Spark cannot reach {uri} ({reason}); name the store's connector and its "
            "settings in spark.conf, as jobs/README.md shows"
        ) from None


def _prepare_java(config: SparkConfig) -> None:
    from jobs.machine.java import java_home

    os.environ["JAVA_HOME"] = str(java_home())
    if config.master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    elif config.master.startswith("spark://"):
        _require_reachable("spark.master", config.master, _MASTER_PORT)


def _launch(conf: dict[str, str], log_file: Path) -> SparkSession:
    from py4j.protocol import Py4JError
    from pyspark import SparkConf
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    settings = SparkConf(loadDefaults=False).setAppName("restem").setAll(list(conf.items()))
    try:
        _start_jvm(settings, log_file)
        return SparkSession.builder.config(conf=settings).getOrCreate()
    except (Py4JError, PySparkRuntimeError) as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise MachineError(
            f"Spark cannot start with spark.master={conf.get('spark.master')!r} and "
            f"spark.driver_memory={conf.get('spark.driver.memory')!r} ({reason}); see {log_file}"
        ) from None


def _start_jvm(settings: SparkConf, log_file: Path) -> None:
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway is not None:
        return
    # The JVM's first lines come before Spark's log settings: only its pipes catch them all.
    with log_file.open("ab") as log:
        gateway = launch_gateway(settings, {"stdout": log, "stderr": log})
    SparkContext._ensure_initialized(gateway=gateway, conf=settings)


def _connect(config: SparkConfig) -> SparkSession:
    assert config.remote is not None
    _require_reachable("spark.remote", config.remote, _CONNECT_PORT)
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.remote(config.remote)
    for key, value in config.conf.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    if config.shuffle_partitions is not None:
        session.conf.set("spark.sql.shuffle.partitions", str(config.shuffle_partitions))
    return session


@contextmanager
def ray_session(config: RayConfig) -> Iterator[None]:
    """Ray while this lasts: started here, or the cluster at `address` (or of RAY_ADDRESS).

    Raises:
        MachineError: Ray cannot start, or nothing answers at the address.
    """
    address = _ray_address(config)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # One machine's own cluster, listening to itself: a token would guard nothing.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        # Ray's workers are its engines here: they should not wait for whatever else runs.
        os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    options = {"address": address} if address else _local_ray(config)
    try:
        _init_ray(options)
    except Exception as error:  # noqa: BLE001 - Ray raises bare exceptions, this is its door
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise MachineError(
            f"Ray cannot {'connect to ' + address if address else 'start here'} ({reason}); check "
            "ray.address, or give it more memory (ray.object_store_mb) or cores (ray.num_cpus)"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _init_ray(options: dict[str, Any]) -> None:
    """Start or connect; once more if Ray gives up on a machine that is busy for half a minute."""
    import ray

    for attempt in (1, 2):
        try:
            ray.init(logging_level="ERROR", log_to_driver=False, **options)
            break
        except Exception as error:
            if attempt == 2 or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


def _local_ray(config: RayConfig) -> dict[str, Any]:
    from pipelines.runtime.hardware import usable_cores

    return {
        "address": "local",
        "num_cpus": config.num_cpus or usable_cores(),
        "object_store_memory": config.object_store_mb * 2**20,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }


def _ray_address(config: RayConfig) -> str | None:
    """The cluster's address, if one is named and it answers; None: Ray is started here.

    Raises:
        MachineError: nothing answers there, or it is Ray Client's address.
    """
    address = config.address or os.environ.get("RAY_ADDRESS")
    if not address or address == "auto":
        return address or None
    if address.startswith("ray://"):
        raise MachineError(
            f"ray.address: Ray Data cannot be driven through Ray Client, got {address!r}; run on a "
            "node of the cluster with its own address (head:6379, or auto), or submit the run with "
            "`ray job submit`"
        )
    _require_reachable("ray.address", address, _RAY_PORT)
    return address


def require_clusters(config: RunConfig) -> None:
    """Check that the clusters which the configuration names answer.

    Raises:
        MachineError: one of them does not.
    """
    _ray_address(config.ray)
    if config.spark.remote is not None:
        _require_reachable("spark.remote", config.spark.remote, _CONNECT_PORT)
    elif not config.spark.master.startswith("local") and _SUBMITTED not in os.environ:
        _require_reachable("spark.master", config.spark.master, _MASTER_PORT)


def _require_reachable(field: str, address: str, default_port: int) -> None:
    """Say at once that nothing is there; the engines' own clients try for minutes.

    Raises:
        MachineError: nothing listens at the address.
    """
    place = address.partition("://")[2] or address
    # Of several masters (`spark://a:7077,b:7077`), one is enough.
    places = [part.partition("/")[0].partition(";")[0] for part in place.split(",")]
    for each in places:
        host, _, port = each.partition(":")
        try:
            with socket.create_connection((host, int(port or default_port)), timeout=5):
                return
        except (OSError, ValueError):
            continue
    raise MachineError(f"{field}: nothing answers at {address!r}; start it, or correct the address")
