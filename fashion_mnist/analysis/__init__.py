"""What recorded runs say: leaderboards, comparisons, reports, evaluations, ensembles."""
