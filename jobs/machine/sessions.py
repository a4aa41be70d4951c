"""Spark and Ray sessions, on this machine or a cluster. Nothing else opens Spark or Ray."""

from __future__ import annotations

import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jobs.machine.delta_jars import delta_jars
from jobs.machine.java import java_home
from jobs.machine.leftovers import (
    RAY_SESSION,
    claim,
    remove,
    remove_ended,
    remove_openmp_files,
    temporary_folder,
)
from jobs.machine.shared_folder import require_shared
from pipelines.config import RayConfig, RunConfig, SparkConfig
from pipelines.config.secret import revealed, without_credentials
from pipelines.errors import MachineError, RestEMError, first_line
from pipelines.lake.location import Location
from pipelines.runtime.cache import cache_folder
from pipelines.runtime.hardware import usable_cores

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
    # Delta's default of 50 partitions for a table's log takes most of a small commit's time.
    "spark.databricks.delta.snapshotPartitions": "1",
}
_LOCAL_SHUFFLE_PARTITIONS = 2
_LOCAL_JAVA_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_RAY_PORT, _MASTER_PORT, _CONNECT_PORT = 6379, 7077, 15002
_SUBMITTED = "PYSPARK_GATEWAY_PORT"
"""Environment variable set by spark-submit, which has then started the driver's JVM."""


class Sessions:
    """The sessions of a run, each opened when it is first used and closed at the end."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
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
        is_unexplained = isinstance(error, Exception) and not isinstance(error, RestEMError)
        if is_unexplained and self._jvm_has_ended():
            raise MachineError(
                "Spark's JVM was killed, most likely for memory (spark.driver_memory); the same command "
                f"goes on; its log is {self.log_folder / 'spark.log'}"
            ) from None

    def _stop_spark(self) -> None:
        from py4j.protocol import Py4JError  # type: ignore[import-untyped]

        assert self._spark is not None
        try:
            self._spark.stop()
        except (OSError, Py4JError):
            if not self._jvm_has_ended():  # else there is nothing to stop
                raise

    def _jvm_has_ended(self) -> bool:
        """Whether the JVM that this process started has ended."""
        if self._spark is None:
            return False
        from pyspark import SparkContext

        process = getattr(SparkContext._gateway, "proc", None)
        return process is not None and process.poll() is not None

    @property
    def log_folder(self) -> Path:
        """Folder of the engines' logs."""
        return self._config.folder / "logs"

    def spark(self) -> SparkSession:
        """The Spark session; safe to call from several threads.

        Raises:
            MachineError: Spark cannot start, or its cluster cannot be reached.
        """
        with self._lock:
            if self._spark is None:
                self._spark = spark_session(self._config.spark, self.log_folder)
                self._open.callback(self._stop_spark)
                if self._config.spark.remote is None:
                    _require_file_system(self._spark, self._config.lake.uri)
            return self._spark

    def start_ray(self) -> None:
        """Start Ray or connect to its cluster, at the first call only.

        Raises:
            MachineError: Ray cannot start, its cluster cannot be reached, or the lake is a folder
                that not all of its nodes see.
        """
        with self._lock:
            if not self._has_ray:
                self._open.enter_context(ray_session(self._config.ray))
                lake = Location.of(self._config.lake)
                if lake.is_local:
                    require_shared(lake.folder)
                self._has_ray = True


def spark_session(config: SparkConfig, log_folder: Path) -> SparkSession:
    """Open Spark: in this process's own JVM, on a classic master, or through Spark Connect.

    Args:
        config: where, and with what settings.
        log_folder: the JVM's output goes to `spark.log` in it.

    Raises:
        MachineError: no Java, no Delta jars, no such cluster, or too little memory.
    """
    if config.remote is not None:
        return _connect(config.remote, config)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if _SUBMITTED not in os.environ:
        os.environ["JAVA_HOME"] = str(java_home())
        if config.master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        elif config.master.startswith("spark://"):
            _require_reachable("spark.master", config.master, _MASTER_PORT)
    log_folder.mkdir(parents=True, exist_ok=True)
    return _launch(spark_conf(config), log_folder / "spark.log")


def spark_conf(config: SparkConfig) -> dict[str, str]:
    """Spark's settings; those of `spark.conf` replace ours.

    Raises:
        MachineError: Delta's jars were not downloaded yet.
    """
    conf = dict(_DELTA_CONF)
    if config.shuffle_partitions is not None:
        conf["spark.sql.shuffle.partitions"] = str(config.shuffle_partitions)
    if _SUBMITTED in os.environ:
        # Master, memory and jars are arguments of spark-submit.
        return conf | revealed(config.conf)
    jars = [str(jar) for jar in delta_jars()]
    conf |= {"spark.master": config.master, "spark.driver.memory": config.driver_memory}
    if config.master.startswith("local"):
        conf |= _LOCAL_CONF
        conf.setdefault("spark.sql.shuffle.partitions", str(_LOCAL_SHUFFLE_PARTITIONS))
        conf["spark.sql.warehouse.dir"] = str(cache_folder() / "spark-warehouse")
        conf["spark.driver.extraJavaOptions"] = _LOCAL_JAVA_OPTIONS
        # Not spark.jars: Spark would serve and copy each jar before it loads it.
        conf["spark.driver.extraClassPath"] = os.pathsep.join(jars)
    else:
        conf["spark.jars"] = ",".join(jars)
    return conf | revealed(config.conf)


def _require_file_system(session: SparkSession, uri: str) -> None:
    """Require that Spark can reach a lake in an object store.

    Raises:
        MachineError: the store's connector is missing, or the store refuses Spark.
    """
    if Location.at(uri, {}).is_local:
        return
    from py4j.protocol import Py4JError

    jvm = session._jvm
    assert jvm is not None, "a classic session has a JVM"
    try:
        path = jvm.org.apache.hadoop.fs.Path(uri)
        path.getFileSystem(session._jsc.hadoopConfiguration()).exists(path)
    except Py4JError as error:
        java = getattr(error, "java_exception", None)
        reason = first_line(java or error)[:200]
        raise MachineError(
            f"lake.uri: Spark cannot reach {uri} ({reason}); name the store's connector and its "
            "settings in spark.conf, as jobs/README.md shows"
        ) from None


def _launch(conf: dict[str, str], log_file: Path) -> SparkSession:
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    settings = SparkConf(loadDefaults=False).setAppName("restem").setAll(list(conf.items()))
    try:
        if SparkContext._gateway is None:
            conf = conf | _temporary_files(conf)
            settings.setAll(list(conf.items()))
            # The JVM writes before Spark's log settings take effect: only its pipes catch it all.
            with log_file.open("ab") as log:
                gateway = launch_gateway(_public(conf), {"stdout": log, "stderr": log})
            SparkContext._ensure_initialized(gateway=gateway, conf=settings)
        return SparkSession.builder.config(conf=settings).getOrCreate()
    except (Py4JError, PySparkRuntimeError) as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise MachineError(
            f"Spark cannot start with spark.master={conf.get('spark.master')!r} and "
            f"spark.driver_memory={conf.get('spark.driver.memory')!r} ({reason}); see {log_file}"
        ) from None


def _temporary_files(conf: Mapping[str, str]) -> dict[str, str]:
    """Settings that put the temporary files of a new local JVM into a folder which is removed."""
    if conf.get("spark.driver.extraJavaOptions") != _LOCAL_JAVA_OPTIONS:
        return {}  # a cluster's driver, or the user's own options
    folder = temporary_folder()
    options = f"{_LOCAL_JAVA_OPTIONS} -Djava.io.tmpdir={shlex.quote(str(folder))}"
    return {
        "spark.driver.extraJavaOptions": options,
        "spark.local.dir": conf.get("spark.local.dir", str(folder)),
    }


def _public(conf: Mapping[str, str]) -> SparkConf:
    """The settings for the JVM's command line, which every user of the machine can read.

    Hadoop's, among which are keys, are not: the context sets them once the JVM runs.
    """
    from pyspark import SparkConf

    public = [(name, value) for name, value in conf.items() if not name.startswith("spark.hadoop.")]
    return SparkConf(loadDefaults=False).setAppName("restem").setAll(public)


def _connect(remote: str, config: SparkConfig) -> SparkSession:
    from pyspark.sql import SparkSession

    _require_reachable("spark.remote", remote, _CONNECT_PORT)
    builder = SparkSession.builder.remote(remote)
    for key, value in revealed(config.conf).items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    if config.shuffle_partitions is not None:
        session.conf.set("spark.sql.shuffle.partitions", str(config.shuffle_partitions))
    return session


@contextmanager
def ray_session(config: RayConfig) -> Iterator[None]:
    """Connect to Ray: at `address`, at RAY_ADDRESS, or to a cluster started here.

    The folder of a cluster started here is removed at the end; if the block fails, or this process is
    killed, Ray's logs are in it until the next cluster is started.

    Raises:
        MachineError: Ray cannot start, or nothing answers at the address.
    """
    address = _ray_address(config)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # The cluster listens to this machine only: there is nothing for a token to protect.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        # The workers do the run's work, so they have the priority of any other process.
        os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    local = {
        "address": "local",
        "num_cpus": config.num_cpus or usable_cores(),
        "object_store_memory": config.object_store_mb * 2**20,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        session = _init_ray({"address": address} if address else local)
    except Exception as error:  # noqa: BLE001 - Ray raises bare exceptions
        reason = first_line(error)[:200]
        raise MachineError(
            f"Ray cannot {'connect to ' + address if address else 'start here'} ({reason}); check "
            "ray.address, or give it more memory (ray.object_store_mb) or cores (ray.num_cpus)"
        ) from None
    try:
        if address is None:
            claim(session)
            remove_ended(session.parent, RAY_SESSION)
        yield
    finally:
        ray.shutdown()
        remove_openmp_files()
    if address is None:
        remove(session)


def _init_ray(options: dict[str, Any]) -> Path:
    """Start or connect; twice if Ray times out, as on a machine that is busy for half a minute.

    Returns:
        The folder of the cluster's session.
    """
    import ray

    for attempt in (1, 2):
        try:
            context = ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
        except Exception as error:
            if attempt == 2 or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
        else:
            return Path(context.address_info["session_dir"])
    raise AssertionError("the second attempt returns or raises")


def names_a_ray_cluster(config: RayConfig) -> bool:
    """Whether Ray is a cluster that was there before the run, and is not started for it."""
    return bool(config.address or os.environ.get("RAY_ADDRESS"))


def ray_answers(config: RayConfig) -> bool:
    """Whether the Ray cluster that is named can be reached from here.

    Raises:
        MachineError: it is an address of Ray Client.
    """
    address = _named_address(config)
    return address == "auto" or _is_reachable(address or "", _RAY_PORT)


def _ray_address(config: RayConfig) -> str | None:
    """The address of the cluster to connect to; None if Ray is to be started here.

    Raises:
        MachineError: nothing answers there, or it is an address of Ray Client.
    """
    address = _named_address(config)
    if address and address != "auto":
        _require_reachable("ray.address", address, _RAY_PORT)
    return address


def _named_address(config: RayConfig) -> str | None:
    address = config.address or os.environ.get("RAY_ADDRESS") or None
    if address and address.startswith("ray://"):
        raise MachineError(
            f"ray.address: Ray Data cannot be driven through Ray Client, got {address!r}; run on a "
            "node of the cluster with its own address (head:6379, or auto), or submit the run with "
            "`ray job submit`"
        )
    return address


def require_clusters(config: RunConfig) -> None:
    """Require that the clusters which the configuration names answer.

    Raises:
        MachineError: one of them does not.
    """
    _ray_address(config.ray)
    if config.spark.remote is not None:
        _require_reachable("spark.remote", config.spark.remote, _CONNECT_PORT)
    elif not config.spark.master.startswith("local") and _SUBMITTED not in os.environ:
        _require_reachable("spark.master", config.spark.master, _MASTER_PORT)


def _require_reachable(field: str, address: str, default_port: int) -> None:
    """Require that something listens at the address: the engines' own clients retry for minutes.

    Raises:
        MachineError: nothing does.
    """
    if not _is_reachable(address, default_port):
        shown = without_credentials(address)
        raise MachineError(
            f"{field}: nothing answers at {shown!r}; start it, or correct the address"
        )


def _is_reachable(address: str, default_port: int) -> bool:
    """Whether something listens at the address."""
    hosts = address.partition("://")[2] or address
    # Of several masters (`spark://a:7077,b:7077`), one is enough.
    for place in hosts.split(","):
        host, _, port = place.partition("/")[0].partition(";")[0].partition(":")
        try:
            with socket.create_connection((host, int(port or default_port)), timeout=5):
                return True
        except (OSError, ValueError):
            continue
    return False
