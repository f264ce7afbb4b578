"""Markdown tables."""


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Format rows as a Markdown table with right-aligned numbers.

    :param header: names of the columns; the first one is left-aligned
    :param rows: cells as text
    """
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
