"""The simple rivals on held-out groups of known sources, and on sources left out whole, beside the references.

Run: python benchmarks/rivals.py --steps DIR [--json OUT] [--cap ROWS] [--resamples N] [--sources NAME ...]
The rules of the figures are in docs/results.md. Needs the extras ``lab`` and ``train``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agentrouter.lab.metrics.calibration import brier, ece
from agentrouter.lab.metrics.bootstrap import percentile_interval, resampled_counts
from agentrouter.lab.metrics.operating_point import Swept, operating_point
from agentrouter.lab.metrics.ranking import auc
from agentrouter.learn.rival_rows import CLEAN_SOURCES, Rows, read_rows, training_inputs
from agentrouter.learn.rivals import RIVALS, fit, held_out
from agentrouter.policies import build
from agentrouter.scorers import Scorer, load
from agentrouter.scorers.artefact import read_artefact
from agentrouter.types import Tier

TARGETS = (0.973, 0.95)
SETTINGS = 201
TEST_SHARE = 0.3
FRONTIER = int(Tier.FRONTIER)
