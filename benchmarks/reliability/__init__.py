"""Never twice, never lost, with numbers that anyone can reproduce: `python -m benchmarks.reliability`."""
