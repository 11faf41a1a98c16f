"""Reports of a corpus, a bundle, an evaluation and results, for the terminal and as HTML pages."""
