"""Explaining a batch: the shared pass, further passes, the choice of batch sizes. Knows methods and models, no Beam."""
