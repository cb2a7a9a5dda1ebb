"""What the pipeline costs, measured side by side in one run."""
