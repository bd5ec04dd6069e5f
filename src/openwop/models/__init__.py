"""Models of the protocol's documents.  Reading is tolerant, sending is strict; see :mod:`openwop.models.base`."""

from openwop.models.base import ModelMismatch, RequestModel, TolerantModel, WireModel
from openwop.models.discovery import *
from openwop.models.events import *
from openwop.models.interrupts import *
from openwop.models.runs import *
from openwop.models.workflows import *
