"""A sampler that draws with vLLM; only this module imports vllm.

The engine runs in this process (with several GPUs, its workers are processes below this one) and is
stepped by one thread. Calls of `draw` hand their requests to
that thread and wait, so several calls share the engine's batch and it does not drain between them.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from pipelines.config import EngineConfig, ModelConfig
from pipelines.errors import ConfigError
from pipelines.placement.engines import engine_arguments
from pipelines.placement.nvidia import number_format, nvidia_report, wait_for_free_memory
from pipelines.sampling.sampler import DrawnSolution, Request, refuse_too_long
from pipelines.sampling.vllm_environment import bind_cores, without_optional_imports
from schemas.samples import ENGINE_ERROR, LENGTH, STOP

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.v1.engine.llm_engine import LLMEngine


class VllmSampler:
    """A vLLM engine that draws from one checkpoint, on the GPUs or cores that Ray gave this process.

    Seeds per request are safe here. vLLM's CPU backend dies ("CPU Generator does not use offset")
    when a seeded prompt is prefilled in two steps, so on a CPU prompts are never split (chunked
    prefill off), and `engine.extra` must not turn that on.

    Args:
        checkpoint: folder or hub id.
        model: the model's settings (revision, longest context).
        engine: the engine's settings.

    Raises:
        ConfigError: `engine.extra` has an argument that vLLM does not know, or that breaks seeds.
        MachineError: other processes hold the GPUs' memory.
    """

    def __init__(self, checkpoint: str, model: ModelConfig, engine: EngineConfig) -> None:
        import ray

        use_gpu = bool(ray.get_gpu_ids())
        if use_gpu:
            share = engine.gpu_memory_utilization
            wait_for_free_memory("engine.gpu_memory_utilization", share)
        else:
            bind_cores(engine.tensor_parallel)
        # Without torch: with several GPUs the engine's own processes compute, and this one must not
        # make a CUDA context beside them.
        dtype = number_format(engine.dtype, nvidia_report().gpus if use_gpu else ())
        self._arguments = engine_arguments(checkpoint, model, engine, dtype, use_gpu=use_gpu)
        self._inbox: queue.SimpleQueue[tuple[Request, Future[list[DrawnSolution]]]] = (
            queue.SimpleQueue()
        )
        self._waiting: dict[str, tuple[Request, Future[list[DrawnSolution]]]] = {}
        self._error: BaseException | None = None
        self._ready: Future[str] = Future()
        # OpenMP's pool belongs to the thread that first uses it: the engine is made and stepped
        # in one thread.
        threading.Thread(target=self._run, name="vllm-engine", daemon=True).start()
        self._dtype = self._ready.result()

    @property
    def dtype(self) -> str:
        """See Sampler."""
        return self._dtype

    def draw(self, requests: list[Request]) -> list[list[DrawnSolution]]:
        """See Sampler."""
        futures: list[Future[list[DrawnSolution]]] = [Future() for _ in requests]
        for request, future in zip(requests, futures, strict=True):
            self._inbox.put((request, future))
        if self._error is not None:
            self._refuse_inbox(self._error)
        return [future.result() for future in futures]

    def _run(self) -> None:
        """The engine's thread: start the engine, then admit requests, step and deliver until it fails."""
        try:
            engine = _start_engine(self._arguments)
        except BaseException as error:  # noqa: BLE001 - handed to the constructor's caller
            self._ready.set_exception(error)
            return
        self._ready.set_result(str(engine.model_config.dtype).removeprefix("torch."))
        try:
            while True:
                self._admit(engine)
                for output in engine.step():
                    self._deliver(output)
        except BaseException as error:  # noqa: BLE001 - handed to every waiting caller
            self._error = error
            for _, future in self._waiting.values():
                future.set_exception(error)
            self._refuse_inbox(error)

    def _admit(self, engine: LLMEngine) -> None:
        """Hand waiting requests to the engine; wait for one if the engine has none."""
        while not self._waiting or not self._inbox.empty():
            request, future = self._inbox.get()
            tokens = engine.get_tokenizer()(request.text)["input_ids"]
            if len(tokens) >= engine.model_config.max_model_len:
                future.set_result(refuse_too_long(request, len(tokens)))
                continue
            key = f"{request.prompt_id}-{id(future)}"
            self._waiting[key] = (request, future)
            engine.add_request(key, {"prompt_token_ids": tokens}, _parameters(request))

    def _deliver(self, output: RequestOutput) -> None:
        request, future = self._waiting.pop(output.request_id)
        future.set_result(_drawn_solutions(request, output))

    def _refuse_inbox(self, error: BaseException) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                _, future = self._inbox.get_nowait()
                future.set_exception(error)


def _start_engine(arguments: dict[str, object]) -> LLMEngine:
    with without_optional_imports():
        from vllm.engine.arg_utils import EngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine

    try:
        engine_args = EngineArgs(**arguments)
    except TypeError as error:
        raise ConfigError(f"engine.extra: vLLM says: {error}") from None
    if current_platform.is_cpu():
        _skip_ranks()
    engine = LLMEngine.from_engine_args(engine_args)
    splits_prompts = engine.vllm_config.scheduler_config.enable_chunked_prefill
    if current_platform.is_cpu() and splits_prompts:
        raise ConfigError(
            "engine.extra.enable_chunked_prefill must be false on a CPU: its seeds do not survive "
            "a prompt computed in two steps; remove it"
        )
    return engine


def _skip_ranks() -> None:
    """Have vLLM gather a sampled token's log-probability without its rank in the vocabulary.

    The rank is not used. On a CPU, computing it takes a third of the sampling step, and vLLM compiles
    that with a C++ compiler at the first token: some 15 seconds at every start.
    """
    import torch
    from vllm.v1.outputs import LogprobsTensors
    from vllm.v1.sample.sampler import Sampler as TokenSampler

    with_ranks = TokenSampler.gather_logprobs

    def gather(
        logprobs: torch.Tensor, num_logprobs: int, token_ids: torch.Tensor
    ) -> LogprobsTensors:
        if num_logprobs > 0:
            return with_ranks(logprobs, num_logprobs, token_ids)
        columns = token_ids.unsqueeze(-1)
        return LogprobsTensors(
            columns.to(torch.int32), logprobs.gather(-1, columns), torch.ones_like(token_ids)
        )

    TokenSampler.gather_logprobs = staticmethod(gather)


def _parameters(request: Request) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    decoding = request.decoding
    return SamplingParams(
        n=request.num_samples,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        max_tokens=decoding.max_tokens,
        stop=list(decoding.stop),
        seed=request.seed,
        logprobs=0,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _drawn_solutions(request: Request, output: RequestOutput) -> list[DrawnSolution]:
    num_prompt_tokens = len(output.prompt_token_ids or ())
    return [
        DrawnSolution(
            index=one.index,
            solution=one.text,
            finish_reason=_FINISH_REASONS.get(one.finish_reason or "", ENGINE_ERROR),
            stop_string=_stop_string(one),
            num_tokens=len(one.token_ids),
            num_prompt_tokens=num_prompt_tokens,
            log_probability=_at_most_zero(one.cumulative_logprob),
            seed=request.seed + one.index,
        )
        for one in sorted(output.outputs, key=lambda one: one.index)
    ]


_FINISH_REASONS = {"stop": STOP, "length": LENGTH}


def _stop_string(one: CompletionOutput) -> str | None:
    # vLLM's stop_reason is a text for a stop string, a number for a token other than end-of-text.
    is_string = one.finish_reason == "stop" and isinstance(one.stop_reason, str)
    return str(one.stop_reason) if is_string else None


def _at_most_zero(log_probability: float | None) -> float | None:
    # Rounding can leave a sum of log-probabilities slightly above 0.
    return None if log_probability is None else min(0.0, float(log_probability))
