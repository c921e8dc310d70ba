"""Where labelled images come from: one module a layout, all giving an ``ImageIndex``."""
