"""Pages of HTML that are whole in one file: pieces, drawn pictures, and the frame around them."""
