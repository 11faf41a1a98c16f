"""HTTP and the page, round one `Tagger`."""
