"""What a run's results look like: gates, report.json, summary.md and report.html.

Everything here reads `loadtest.measure.results.Results` and measures nothing.
"""
