"""Small contracts between the core and everything around it.

Adapters implement them outside ``engine``; each port's fake ships with the part that owns it.  These signatures change
only with a decision record: everything hangs on them.
"""

from engine.ports.clock import Clock
from engine.ports.model import Assembly, Assignment, Features, Float32Array, Model
from engine.ports.readings import OpenGroup, OpenOrder, Position, Stake, Tally, Top
from engine.ports.recording import STAGES, Journal, Probe, Recorder
from engine.ports.risk import RiskGate
from engine.ports.strategy import Strategy
from engine.ports.venue import (
    EditingGateway,
    FeedCounts,
    FrameSink,
    Publish,
    Router,
    Venue,
    VenueGateway,
    VenueProtocol,
)
from engine.ports.view import FeatureView, ServedModel, View

__all__ = [
    "STAGES",
    "Assembly",
    "Assignment",
    "Clock",
    "EditingGateway",
    "FeatureView",
    "Features",
    "FeedCounts",
    "Float32Array",
    "FrameSink",
    "Journal",
    "Model",
    "OpenGroup",
    "OpenOrder",
    "Position",
    "Probe",
    "Publish",
    "Recorder",
    "RiskGate",
    "Router",
    "ServedModel",
    "Stake",
    "Strategy",
    "Tally",
    "Top",
    "Venue",
    "VenueGateway",
    "VenueProtocol",
    "View",
]
