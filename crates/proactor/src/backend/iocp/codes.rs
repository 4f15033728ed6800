//! The tables from the numbers of Windows to the library's codes: Win32 and Winsock errors, and NT statuses.

use windows_sys::Win32::Foundation::*;
use windows_sys::Win32::Networking::WinSock::*;

use crate::error::{Code, Error};

/// The library's code for a Win32 or Winsock number.
pub(crate) fn code_of(raw: i32) -> Code {
    if let Some(code) = winsock(raw) {
        return code;
    }
    match raw.cast_unsigned() {
        ERROR_OPERATION_ABORTED => Code::Cancelled,
        ERROR_NETNAME_DELETED => Code::ConnectionReset,
        // What Wine reports for operations whose handle was closed.
        ERROR_CONNECTION_ABORTED | ERROR_HANDLES_CLOSED => Code::ConnectionAborted,
        ERROR_CONNECTION_REFUSED | ERROR_PORT_UNREACHABLE => Code::ConnectionRefused,
        ERROR_SEM_TIMEOUT => Code::IoTimeout,
        ERROR_MORE_DATA => Code::MessageTruncated,
        ERROR_HOST_UNREACHABLE => Code::HostUnreachable,
        ERROR_NETWORK_UNREACHABLE => Code::NetworkUnreachable,
        ERROR_PIPE_NOT_CONNECTED => Code::Shutdown,
        ERROR_NOT_CONNECTED | ERROR_PIPE_LISTENING => Code::NotConnected,
        ERROR_PIPE_BUSY => Code::PipeBusy,
        ERROR_PIPE_CONNECTED => Code::PipeConnected,
        ERROR_ADDRESS_ALREADY_ASSOCIATED => Code::AddressInUse,
        ERROR_INVALID_NETNAME => Code::AddressNotAvailable,
        ERROR_NO_SYSTEM_RESOURCES
        | ERROR_NOT_ENOUGH_MEMORY
        | ERROR_OUTOFMEMORY
        | ERROR_NOT_ENOUGH_QUOTA
        | ERROR_WORKING_SET_QUOTA
        | ERROR_COMMITMENT_LIMIT
        | ERROR_DISK_FULL
        | ERROR_HANDLE_DISK_FULL => Code::InsufficientResources,
        ERROR_TOO_MANY_OPEN_FILES => Code::TooManyDescriptors,
        ERROR_NOT_FOUND => Code::NotFound,
        ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => Code::FileNotFound,
        ERROR_FILE_EXISTS | ERROR_ALREADY_EXISTS => Code::FileExists,
        ERROR_ACCESS_DENIED | ERROR_WRITE_PROTECT | ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION => Code::AccessDenied,
        ERROR_INVALID_PARAMETER
        | ERROR_INVALID_FUNCTION
        | ERROR_NEGATIVE_SEEK
        | ERROR_INVALID_NAME
        | ERROR_INSUFFICIENT_BUFFER
        | ERROR_NOACCESS
        | ERROR_CONNECTION_ACTIVE => Code::InvalidParameter,
        ERROR_INVALID_HANDLE => Code::InvalidHandle,
        ERROR_IO_INCOMPLETE => Code::Incomplete,
        WAIT_TIMEOUT => Code::WaitTimeout,
        ERROR_ABANDONED_WAIT_0 => Code::Abandoned,
        ERROR_BROKEN_PIPE | ERROR_NO_DATA => Code::BrokenPipe,
        ERROR_NOT_SUPPORTED | ERROR_CALL_NOT_IMPLEMENTED => Code::NotSupported,
        _ => Code::Other,
    }
}

fn winsock(raw: i32) -> Option<Code> {
    Some(match raw {
        WSAEINTR => Code::Cancelled,
        WSAECONNRESET | WSAENETRESET => Code::ConnectionReset,
        WSAECONNABORTED => Code::ConnectionAborted,
        WSAECONNREFUSED => Code::ConnectionRefused,
        WSAETIMEDOUT => Code::IoTimeout,
        WSAEMSGSIZE => Code::MessageTruncated,
        WSAEHOSTUNREACH | WSAEHOSTDOWN => Code::HostUnreachable,
        WSAENETUNREACH | WSAENETDOWN => Code::NetworkUnreachable,
        WSAESHUTDOWN => Code::Shutdown,
        WSAENOTCONN | WSAEDESTADDRREQ => Code::NotConnected,
        WSAEADDRINUSE => Code::AddressInUse,
        WSAEADDRNOTAVAIL => Code::AddressNotAvailable,
        WSAENOBUFS | WSAEWOULDBLOCK => Code::InsufficientResources,
        WSAEMFILE => Code::TooManyDescriptors,
        WSAEACCES => Code::AccessDenied,
        WSAEINVAL | WSAEISCONN | WSAEALREADY | WSAEFAULT => Code::InvalidParameter,
        WSAENOTSOCK | WSAEBADF => Code::InvalidHandle,
        WSAEOPNOTSUPP | WSAEAFNOSUPPORT | WSAEPROTONOSUPPORT | WSAESOCKTNOSUPPORT | WSAEPFNOSUPPORT => Code::NotSupported,
        _ => return None,
    })
}

/// Which number of Windows an error shows to its reader.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    Win32,
    Winsock,
}

/// The error for a status an operation ended with.
pub(super) fn of_status(status: NTSTATUS, numbers: Numbers) -> Error {
    // SAFETY: a table look-up.
    let error = Error::from_raw_os_error(unsafe { RtlNtStatusToDosError(status) }.cast_signed());
    let winsock = error.code().winsock();
    // A standard io::Error knows the kinds of Winsock's numbers.
    if numbers == Numbers::Winsock && winsock != 0 {
        return Error::from_raw_os_error(winsock.cast_signed()).with_code(error.code());
    }
    error
}

/// The error of an operation that ended because it was asked to.
pub(super) fn of_end(code: Code) -> Error {
    Error::from_raw_os_error(code.winsock().cast_signed()).with_code(code)
}
