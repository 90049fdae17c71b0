"""Where stacks are trained: processes of this machine, a Ray cluster, Slurm's jobs."""
