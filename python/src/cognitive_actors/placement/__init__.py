"""Where a language model's coordinator runs and where its layers go. No Ray, no network, nothing else of here."""
