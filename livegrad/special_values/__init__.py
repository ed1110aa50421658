"""Values of special functions, as NumPy arrays of float64: series, continued fractions, recurrences and integrals."""
