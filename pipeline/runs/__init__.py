"""A run directory as other rooms see it: manifest, tables, chosen rows, source images, history."""
