"""The networks, the scalar codec, and inference for acting and reanalysis."""
