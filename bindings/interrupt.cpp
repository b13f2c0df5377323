// Ctrl-C during an op. Knows Python, not torch.
#include <Python.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace planet {
namespace {

bool on_main_thread() {
  return syscall(SYS_gettid) == getpid();
}

void set_error(PyObject* error) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  Py_DECREF(error);
}

// Called by the interpreter: raises the exception that `interrupted` handed to it.
int raise_pending(void* error) {
  set_error(static_cast<PyObject*>(error));
  return -1;
}

// Hands the exception that is set to the interpreter, if it takes it.
bool hand_over() {
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  if (trace != nullptr) PyException_SetTraceback(value, trace);
  Py_XDECREF(type);
  Py_XDECREF(trace);
  if (Py_AddPendingCall(raise_pending, value) == 0) return true;
  // Its queue of 32 is full of others' calls: the plan goes on, the exception is at least shown.
  set_error(value);
  PyErr_WriteUnraisable(nullptr);
  return false;
}

}  // namespace

// Whether a signal such as Ctrl-C asks the calling thread to stop. Its handler runs here. What it
// raises cannot pass through an op, so the interpreter is asked to raise it as soon as the op is
// back in Python, whoever called it; nothing of it is kept here.
bool interrupted() {
  if (!on_main_thread() || !Py_IsInitialized()) return false;  // spares other threads the GIL
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool stop = PyErr_CheckSignals() != 0 && hand_over();
  PyGILState_Release(state);
  return stop;
}

}  // namespace planet
