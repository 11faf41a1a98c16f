"""HTTP server and browser page around one `Tagger`."""
