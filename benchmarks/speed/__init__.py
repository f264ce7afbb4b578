"""Measurements of TDA2C's speed and memory compared with SB3's A2C."""
