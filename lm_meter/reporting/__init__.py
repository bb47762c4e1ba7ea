"""Reports of saved results as documents: what is to be read is put together once, and written as Markdown or HTML."""
