"""What HTML pages share: templates, plots, pictures of maps, words."""
