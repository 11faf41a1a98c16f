"""What is found in a corpus, a bundle, an evaluation, to read."""
