"""Public datasets: download, convert, check."""
