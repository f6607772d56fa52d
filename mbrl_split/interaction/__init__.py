"""What agents, environments and models share of an environment: policies, sources, and streams of real transitions."""

from mbrl_split.interaction.policy import Policy
from mbrl_split.interaction.source import Source, ZeroSource, ask, check_source
from mbrl_split.interaction.stream import Step, Stream, make_stream

__all__ = ["Policy", "Source", "Step", "Stream", "ZeroSource", "ask", "check_source", "make_stream"]
