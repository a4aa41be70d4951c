"""torchrun's agent, as a process that ends with its parent: `python -m pipelines.tuning.torchrun ...`."""

from pipelines.runtime.parent_death import end_with_parent

if __name__ == "__main__":
    end_with_parent()

    from torch.distributed.run import main

    main()
