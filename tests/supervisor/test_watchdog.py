from tmrl_ros.supervisor.watchdog import Watchdog


def test_a_source_is_overdue_once_and_only_after_its_deadline():
    dog = Watchdog()
    dog.expect("action_chunk", now_s=10.0, within_s=0.15)
    assert dog.overdue(10.15) == []
    assert dog.overdue(10.16) == ["action_chunk"]
    assert dog.overdue(20.0) == []


def test_what_arrived_is_not_overdue_and_a_new_expectation_replaces_the_old():
    dog = Watchdog()
    dog.expect("joy", 0.0, 1.0)
    dog.arrived("joy")
    dog.expect("task_state", 0.0, 1.0)
    dog.expect("task_state", 0.9, 1.0)
    assert dog.overdue(1.5) == []
