"""The bundled sample: scenes, dataset, model."""
