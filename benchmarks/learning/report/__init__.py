"""Report of the learning benchmark: analysis of the records, figures and pages."""
