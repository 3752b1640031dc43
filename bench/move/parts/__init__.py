"""The parts of bench/move: servers, movers, measuring, results, goals and the chart."""
