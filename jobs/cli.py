"""The `restem` command.

Each command parses, imports what it needs, and calls one function: `--help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pipelines.errors import ConfigError, RestEMError

if TYPE_CHECKING:
    from pipelines.config import RunConfig
    from pipelines.lake.location import Location
    from pipelines.lake.reader import LakeReader

_INTERRUPTED = 130
_PLACES = (
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)
"""What can be wrong with a file or folder that the user named."""
_BROKEN_PIPE = 141


class CommandGroup(TyperGroup):
    """Prints user errors as one line on stderr, and exits with the error's code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the named command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except RestEMError as error:
            _print_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            again = "; the same command goes on" if ctx.invoked_subcommand == "run" else ""
            _print_error(f"interrupted{again}")
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            # The pipe is closed; what is still buffered must not raise again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_BROKEN_PIPE) from None
        except OSError as error:
            # A folder that cannot be read or written; anything else is a bug, and shows itself.
            if error.filename is None or error.errno not in _PLACES:
                raise
            _print_error(f"cannot use {error.filename}: {error.strerror}; choose another place")
            raise typer.Exit(ConfigError.exit_code) from None
        return result


app = typer.Typer(
    name="restem",
    cls=CommandGroup,
    help="Train a language model on its own verified solutions (ReST-EM), every step in a table.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes longer to import than all the rest of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


Config = Annotated[Path, typer.Argument(help="YAML file; see configs/.", show_default=False)]
Name = Annotated[str | None, typer.Option(help="Name of the run; default: the file's.")]
Set = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="Change a setting, such as sampling.top_k=50."),
]
Lake = Annotated[
    str, typer.Option(envvar="RESTEM_LAKE", help="The lake: a folder, s3://, gs:// or abfs://.")
]
Storage = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="An object store's option, as delta-rs names it."),
]
Method = Annotated[
    str | None,
    typer.Option(help="Use the settings of a method, a file in configs/methods/, such as star."),
]
NoReuse = Annotated[
    bool,
    typer.Option("--no-reuse", help="Draw and score anew what other runs of the lake have."),
]
OneRun = Annotated[str | None, typer.Option("--run", help="Rows of this run only.")]
_HERE = "restem-data/lake"


def _version(wanted: bool) -> None:
    if wanted:
        from pipelines.runtime.version import code_version

        typer.echo(f"restem {code_version()}")
        raise typer.Exit


@app.callback()
def _restem(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: Config,
    name: Name = None,
    set: Set = None,  # noqa: A002
    method: Method = None,
    no_reuse: NoReuse = False,
) -> None:
    """Run ReST-EM, or go on with a run that was stopped."""
    # Before the engines, so that mistakes show at once.
    settings = _load(config, name, _with_reuse(set, no_reuse), method)
    from jobs.run import run as run_loop

    changes = [word for item in set or () for word in ("--set", item)]
    chosen = ["--method", method] if method else []
    run_loop(settings, [str(config), *chosen, *changes, *(["--no-reuse"] if no_reuse else [])])


class StageCommand(TyperCommand):
    """A command whose help lists the stages of the loop."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the list, derived from the loop when the help is asked for."""
        from pipelines.runs.steps import all_stage_names

        with formatter.section("Stages"):
            formatter.write_text(f"{', '.join(all_stage_names())}.")


@app.command(cls=StageCommand)
def stage(
    stages: Annotated[
        str, typer.Argument(metavar="STAGE[@ITERATION],...", help="Stages, separated by commas.")
    ],
    config: Config,
    iteration: Annotated[
        int, typer.Option(min=0, help="Iteration of stages without one; 0 is the base model.")
    ] = 0,
    name: Name = None,
    set: Set = None,  # noqa: A002
    method: Method = None,
    no_reuse: NoReuse = False,
) -> None:
    """Run one or several stages of a run as a job of their own on a cluster.

    Their inputs must be sealed: `restem stage evaluate,select@1,curate@1 CONFIG`.
    """
    settings = _load(config, name, _with_reuse(set, no_reuse), method)
    from jobs.run import run_stages

    run_stages(settings, stages, iteration)


@app.command()
def plan(config: Config, name: Name = None, set: Set = None, method: Method = None) -> None:  # noqa: A002
    """Show what a run would do; nothing is run.

    Stages with their rows, tokens, engine starts and commits; the machines, and what engines and
    workers would hold there. Refuses what a run would refuse: reads the problems on this machine,
    their prompts' lengths, and tries the reward on some references.
    """
    from jobs.show.plan import show_plan

    show_plan(_load(config, name, set, method))


@app.command()
def contamination(
    config: Config,
    examples: Annotated[
        int, typer.Option(min=0, help="Maximum number of hits shown per suite.")
    ] = 5,
    name: Name = None,
    set: Set = None,  # noqa: A002
    method: Method = None,
) -> None:
    """Look for test problems among the training problems; nothing is run or written.

    Counts problems per suite that have the text of a training problem, or share 8 to 13
    consecutive words with one.
    """
    from jobs.show.contamination import show_contamination

    show_contamination(_load(config, name, set, method), examples)


@app.command()
def status(
    run: Annotated[str | None, typer.Argument(help="The run; default: all runs.")] = None,
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Show the runs of a lake, or the progress of one run."""
    from jobs.show.status import show_run, show_runs

    reader = _reader(lake, storage)
    if run is None:
        show_runs(reader)
    else:
        show_run(reader, run)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="A SELECT; 'SHOW TABLES' lists the tables.")],
    lake: Lake = _HERE,
    storage: Storage = None,
    run: OneRun = None,
    iteration: Annotated[int | None, typer.Option(help="Rows of this iteration only.")] = None,
    version: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE=N", help="Read a table as it was at a Delta version."),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,  # noqa: A002
    limit: Annotated[
        int | None, typer.Option(min=1, help="Rows to print; default: 50 in a table, else all.")
    ] = None,
) -> None:
    """Query every sample and verdict in SQL.

    Views such as training_rows and sample_verdicts join the tables.
    """
    from jobs.show.sql import show_result

    versions = {
        table: _whole_number("--version", table, number)
        for table, number in _pairs("--version", "TABLE=N", version).items()
    }
    answer = _reader(lake, storage).sql(query, run, iteration, versions)
    show_result(answer, format.value, limit)


@app.command()
def explain(
    sample_id: Annotated[str, typer.Argument(help="A sample's id, or the start of one.")],
    lake: Lake = _HERE,
    storage: Storage = None,
    run: OneRun = None,
) -> None:
    """Print the full lineage of a sample.

    Problem, prompt, policy and its ancestors, verdict, kept or why not, who was trained on it.
    """
    from jobs.show.explain import show_lineage
    from pipelines.results.lineage import trace_lineage

    show_lineage(trace_lineage(_reader(lake, storage), sample_id, run))


@app.command()
def rescore(
    run: Annotated[str, typer.Argument(help="The run; its samples stay as they are.")],
    lake: Lake = _HERE,
    storage: Storage = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change; nothing is written.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="Your own configuration: its rewards may run, on its clusters."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code of rewards that only the lake names.")
    ] = False,
) -> None:
    """Score a run's samples again with the current version of the verifier.

    Prints the verdicts that changed, and what would change in the training sets. Code that the lake
    names is run only if it is built in, in your --config, or with --trust.
    """
    own = None if config is None else _load(config, None, None, None)
    reader = _reader(lake, storage)
    reader.require_run(run)  # before the engines, so that mistakes show at once
    from jobs.show.rescore import rescore as rescore_run

    rescore_run(reader, run, own, dry_run=dry_run, trusted=trust)


@app.command()
def vacuum(
    lake: Lake = _HERE,
    storage: Storage = None,
    older_than: Annotated[
        float, typer.Option(min=1, metavar="HOURS", help="Younger files are kept.")
    ] = 24,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove them; otherwise they are only shown.")
    ] = False,
) -> None:
    """Find what nothing names: files of killed, deleted and renamed runs, and unused policies.

    Keeps what any version of a table names of the other runs, and all files of runs at work.
    """
    from jobs.show.vacuum import vacuum as vacuum_lake

    vacuum_lake(_reader(lake, storage), older_than, remove=remove)


@app.command()
def verify(
    reward: Annotated[
        str, typer.Argument(metavar="REWARD", help="math_answer, ..., or python:module:function.")
    ],
    input: Annotated[  # noqa: A002
        str,
        typer.Argument(
            metavar="INPUT", help="JSONL of id, reference, solution; - is standard input."
        ),
    ],
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="JSONL of verdicts; - is standard output.")
    ],
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the reward, the value in YAML."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds for one verdict; default: 5.")
    ] = None,
) -> None:
    """Score the solutions of a file with any reward.

    OUTPUT has a row per row of INPUT, in order: id, reward, verdict, extracted, detail (why the
    reward failed), milliseconds. Exits with 2 if it failed on every row.
    """
    from jobs.show.verify import verify_file

    options = _pairs("--option", "KEY=VALUE", option)
    verify_file(reward, input, output, options, timeout)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more runs.")],
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Compare settings, accuracy and cost of runs.

    The final policies are also compared problem by problem, with a 95 % interval.
    """
    from jobs.show.compare import show_comparison
    from pipelines.results.compare import compare as compare_runs

    show_comparison(compare_runs(_reader(lake, storage), runs))


runs = typer.Typer(help="The runs of a lake: list, fork, rename and delete them.")
app.add_typer(runs, name="runs")


@runs.callback(invoke_without_command=True)
def _runs(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_runs(os.environ.get("RESTEM_LAKE", _HERE))


@runs.command("list")
def list_runs(lake: Lake = _HERE, storage: Storage = None) -> None:
    """Show the runs of a lake: state, iterations, base model, test accuracy, rows, size."""
    from jobs.show.runs import list_runs as show_runs

    show_runs(_reader(lake, storage))


@runs.command("fork")
def fork_run(
    run: Annotated[str, typer.Argument(help="The run; it stays as it is.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Name of the new run.", show_default=False)],
    first: Annotated[
        str,
        typer.Option(
            "--from", metavar="STAGE@ITERATION", help="First stage that the new run makes itself."
        ),
    ],
    set: Set = None,  # noqa: A002
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Make a run that takes its first stages from another, and has other settings from a stage on.

    The same samples with another cutoff: `restem runs fork OLD NEW --from select@1 --set
    curate.cutoff=5`. A setting that decides rows of an earlier stage is refused.
    """
    from jobs.show.runs import fork_run as fork

    fork(_reader(lake, storage), run, name, first, tuple(set or ()))


@runs.command("rename")
def rename_run(
    run: Annotated[str, typer.Argument(help="The run.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Its new name.", show_default=False)],
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Give a run another name, in the lake, its folder and MLflow."""
    from jobs.show.runs import rename

    rename(_reader(lake, storage), run, name)


@runs.command("delete")
def delete_run(
    run: Annotated[str, typer.Argument(help="The run.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Delete a run: its rows, its folder, its run in MLflow. Shows them and asks first."""
    from jobs.show.runs import delete

    delete(_reader(lake, storage), run, None if yes else _confirmed)


def _confirmed() -> bool:
    """Whether the user says yes; without a terminal nobody can be asked."""
    return sys.stdin.isatty() and typer.confirm("Delete it?")


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="One or several runs.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path("restem-report"),
    samples: Annotated[
        int, typer.Option(min=1, help="Samples per run that can be browsed.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of their choice.")] = 0,
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Write a report as HTML pages that open from disk.

    Results, plots, stages, data checks, settings and samples to browse; several runs are compared
    with the first.
    """
    from jobs.show.pages.report import write_report_pages

    typer.echo(write_report_pages(_reader(lake, storage), runs, output, samples, seed))


@app.command()
def browse(
    runs: Annotated[list[str] | None, typer.Argument(help="Default: the newest run.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    samples: Annotated[
        int, typer.Option(min=1, help="Samples per run that can be browsed.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of their choice.")] = 0,
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Serve the report's pages over the live lake, to this machine alone.

    Reload a page to see what a run has made since. Nothing can be changed through it.
    """
    from jobs.show.pages.serve import LivePages, serve

    reader = _reader(lake, storage)
    there = reader.runs()
    for name in runs or ():
        reader.require_run(name)
    if not there:
        raise ConfigError("browse: the lake has no run yet; start one with: restem run CONFIG")
    serve(LivePages(reader, runs or there[-1:], samples, seed), port)


class Files(StrEnum):
    """How rows are written."""

    parquet = "parquet"
    jsonl = "jsonl"


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="The run.", show_default=False)],
    output: Annotated[Path, typer.Option(help="A new folder.")],
    iteration: Annotated[
        int | None, typer.Option(min=0, help="Whose policy; default: the last.")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="The policy with the best greedy accuracy on D_val.")
    ] = False,
    samples: Annotated[
        bool, typer.Option("--samples", help="All samples with their verdicts, too.")
    ] = False,
    format: Annotated[Files, typer.Option(help="Of the rows' files.")] = Files.parquet,  # noqa: A002
    register: Annotated[
        str | None, typer.Option(metavar="NAME", help="Add it to MLflow's model registry.")
    ] = None,
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Take a policy out, as a Hugging Face folder with a model card, and its training set.

    OUTPUT/policy loads with transformers and vLLM, OUTPUT/data with datasets.
    """
    if best and iteration is not None:
        raise ConfigError("export: name --iteration or --best, not both")
    from jobs.show.export import export_policy

    export_policy(
        _reader(lake, storage), run, output, iteration, format.value,
        best=best, samples=samples, register=register,
    )  # fmt: skip


grade = typer.Typer(help="Suites graded by hand: export them, import the marks.")
app.add_typer(grade, name="grade", no_args_is_help=True)


@grade.command("export")
def export_exam(
    run: Annotated[str, typer.Argument(help="The run.", show_default=False)],
    suite: Annotated[str, typer.Option(help="Whose samples: test, or a suite's name.")],
    output: Annotated[Path, typer.Option(help="Folder for the page and the sheet.")],
    iteration: Annotated[
        int | None, typer.Option(min=0, help="Whose policy; default: the last that was asked.")
    ] = None,
    decoding: Annotated[
        str | None, typer.Option(help="How they were drawn; default: greedy, if there is that.")
    ] = None,
    max_points: Annotated[
        float, typer.Option(help="Points of a problem whose source gives none.")
    ] = 1.0,
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Write a suite's solutions as a page (HTML) and a sheet (CSV) for grading."""
    from jobs.show.grade import export

    export(_location(lake, storage), run, suite, output, iteration, decoding, max_points)


@grade.command("import")
def import_marks(
    run: Annotated[str, typer.Argument(help="The run.", show_default=False)],
    files: Annotated[list[Path], typer.Argument(help="Sheets with marks, all by one grader.")],
    grader: Annotated[str, typer.Option(help="Who gave the marks.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace this grader's earlier marks.")
    ] = False,
    lake: Lake = _HERE,
    storage: Storage = None,
) -> None:
    """Read marks into the table grades, and their totals into evaluations."""
    from jobs.show.grade import import_marks as read_marks

    read_marks(_location(lake, storage), run, files, grader, replace=replace)


@app.command()
def doctor() -> None:
    """Check what a run on this machine would use.

    Versions, Java, Delta's jars, processor, memory, disk, model, sandbox. Exits with 1 if one fails.
    """
    from jobs.machine.doctor import diagnose, show_findings

    raise typer.Exit(show_findings(diagnose()))


def _with_reuse(overrides: list[str] | None, no_reuse: bool) -> list[str]:
    return [*(overrides or ()), *(["lake.reuse=false"] if no_reuse else [])]


def _load(
    path: Path, name: str | None, overrides: list[str] | None, method: str | None
) -> RunConfig:
    from pipelines.config.load import load_config

    return load_config(path, name, tuple(overrides or ()), method)


def _reader(uri: str, storage: list[str] | None) -> LakeReader:
    from pipelines.lake.reader import LakeReader

    return LakeReader(_location(uri, storage))


def _location(uri: str, storage: list[str] | None) -> Location:
    from pipelines.lake.location import Location

    return Location.at(uri, _pairs("--storage", "KEY=VALUE", storage))


def _pairs(option: str, form: str, items: list[str] | None) -> dict[str, str]:
    for item in items or ():
        if "=" not in item:
            raise ConfigError(f"{option} must be {form}, got {item!r}")
    return dict(item.split("=", 1) for item in items or ())


def _whole_number(option: str, name: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"{option} {name}: must be a whole number >= 0, got {text!r}")
    return int(text)


def _print_error(message: str) -> None:
    typer.secho(f"restem: {message}", fg=typer.colors.RED, err=True)


def main() -> None:
    """Run the command line."""
    app()
