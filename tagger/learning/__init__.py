"""Training, pretraining and self-training, and the folder in which a run keeps its work."""
