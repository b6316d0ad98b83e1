"""What is found in the maps of a run: a scan, sick maps, shortcuts, label suspects, clusters."""
