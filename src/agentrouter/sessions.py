"""Live trajectories in memory: bounded, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict

from agentrouter.trajectory import TrajectoryState, advance
from agentrouter.types import StepRecord

DEFAULT_CAPACITY = 10_000


class Sessions:
    """Trajectory id -> state, for one process. Steps of one trajectory may run at the same time: each sees the state
    as it was when it began, and each is folded into the newest state when it ends.

    Args:
        capacity: how many trajectories are kept; the longest unused one is forgotten first and then starts cold.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._capacity = capacity
        self._states: OrderedDict[str, TrajectoryState] = OrderedDict()
        self._next_index: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._states)

    def state(self, trajectory_id: str) -> TrajectoryState:
        """Return the state of a trajectory; a fresh one if it is unknown."""
        state = self._states.get(trajectory_id)
        if state is None:
            return TrajectoryState()
        self._states.move_to_end(trajectory_id)
        return state

    def take_index(self, trajectory_id: str, *, at_least: int = 0) -> int:
        """Return the next free step index of a trajectory and reserve it."""
        index = max(self._next_index.get(trajectory_id, 0), at_least)
        self._next_index[trajectory_id] = index + 1
        if trajectory_id not in self._states:
            self._put(trajectory_id, TrajectoryState())
        return index

    def finish(self, record: StepRecord, now: float) -> TrajectoryState:
        """Fold a finished step into its trajectory and return the new state."""
        trajectory_id = record.step.trajectory_id
        state = advance(self.state(trajectory_id), record, now)
        self._put(trajectory_id, state)
        return state

    def _put(self, trajectory_id: str, state: TrajectoryState) -> None:
        self._states[trajectory_id] = state
        self._states.move_to_end(trajectory_id)
        while len(self._states) > self._capacity:
            gone, _ = self._states.popitem(last=False)
            self._next_index.pop(gone, None)
