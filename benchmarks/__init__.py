"""Comparisons of TDA2C with SB3's A2C. They import the package; the package never imports them."""
