"""What happens to the data: Beam steps, explanation methods and localization metrics."""
