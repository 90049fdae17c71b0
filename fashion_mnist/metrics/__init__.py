"""What predictions are worth: classification scores, calibration, intervals and tests."""
