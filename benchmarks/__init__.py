"""What measures speed, each script by itself: `python -m benchmarks.<name>`."""
