"""The policies of a run as folders that transformers and vLLM load, on whichever machine asks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.checkpoints.base_model import HUB, from_hub, resolve_base_model
from pipelines.checkpoints.embedded_model import embedded_checkpoint
from pipelines.checkpoints.policy import PolicyRef, policy_id_of
from pipelines.checkpoints.store import PolicyStore, policy_lost
from pipelines.config import EMBEDDED_MODEL, ModelConfig, RunConfig
from pipelines.errors import InputError, PolicyLost
from pipelines.lake.location import POLICIES_FOLDER, Location
from pipelines.runtime.progress import Progress


@dataclass(frozen=True)
class PolicyLoader:
    """Finds the checkpoints of a run's policies. Picklable: engines and workers ask for themselves."""

    store: PolicyStore
    model: ModelConfig

    @classmethod
    def of(cls, config: RunConfig) -> PolicyLoader:
        """The loader of a run's policies."""
        return cls(PolicyStore(Location.of(config.lake)), config.model)

    def folder_of(self, policy: PolicyRef, progress: Progress | None = None) -> Path:
        """The policy's checkpoint as a folder of this machine, its weights checked.

        Args:
            policy: a row of `policies`.
            progress: where the progress of a download is shown.

        Raises:
            PolicyLost: there is no checkpoint with its weights.
            InputError: the base model cannot be found, or has other weights.
            LakeError: the lake's store does not answer.
        """
        if self._is_stored(policy):
            return self.store.fetch(policy.policy_id, progress)
        uri = policy.checkpoint_uri
        if uri == EMBEDDED_MODEL:
            return _with_weights(embedded_checkpoint(), policy)
        if uri.startswith(HUB):
            name, _, commit = uri.removeprefix(HUB).rpartition("@")
            trusted = self.model.trust_remote_code
            return _with_weights(from_hub(name, commit, trust_remote_code=trusted), policy)
        return self._folder_with_weights(policy)

    def recover(self, policy: PolicyRef, progress: Progress) -> None:
        """Require that every machine can load the policy, as far as this one can tell.

        What an object store has lost, and this machine still has, is stored again.

        Raises:
            PolicyLost: there is no checkpoint with its weights any more.
            InputError: the base model cannot be found, or has other weights.
            LakeError: the lake's store does not answer.
        """
        if self._is_stored(policy) and not self.store.restore(policy.policy_id, progress):
            raise policy_lost(policy.policy_id, f"{policy.checkpoint_uri} is missing")
        self.folder_of(policy, progress)

    def _is_stored(self, policy: PolicyRef) -> bool:
        # By its end: a lake may have been moved since.
        return policy.checkpoint_uri.endswith(f"/{POLICIES_FOLDER}/{policy.policy_id}")

    def _folder_with_weights(self, policy: PolicyRef) -> Path:
        """The folder of a base model that is named by one: where it was, or where it is now."""
        folder = Path(policy.checkpoint_uri)
        if _holds(folder, policy):
            return folder
        with suppress(InputError):
            now = resolve_base_model(self.model)
            if _holds(now, policy):
                return now
        raise PolicyLost(
            f"policy {policy.policy_id}: no checkpoint with its weights at {folder} or "
            f"{self.model.base_model}; set model.base_model to the folder where it is now"
        )


def _holds(folder: Path, policy: PolicyRef) -> bool:
    try:
        return policy_id_of(folder) == policy.policy_id
    except (InputError, OSError):
        return False


def _with_weights(folder: Path, policy: PolicyRef) -> Path:
    """The folder, if it holds the policy's weights.

    Raises:
        InputError: it does not.
    """
    found = policy_id_of(folder)
    if found != policy.policy_id:
        raise InputError(
            f"model.base_model: {folder} holds the weights {found}, and policy 0 of this run is "
            f"{policy.policy_id}; delete that folder if it is damaged, and the same command makes or "
            "fetches it again; else use the version of restem that began the run"
        )
    return folder
