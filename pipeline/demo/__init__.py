"""The bundled sample: scenes, dataset and model, and the command that makes, runs and reports them.

Imports every other room but the command line. Nothing is downloaded: digits and photos are scikit-learn's.
"""
