"""The dashboard: one HTML file that shows runs and requests nothing from anywhere."""
