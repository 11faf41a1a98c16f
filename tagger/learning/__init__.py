"""Training, pretraining and self-training, and the folder a run keeps its work in."""
