"""Every message, field number, type and enumerator of cp_model.proto is OR-Tools' own."""
import subprocess
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from ortools.sat import cp_model_pb2, sat_parameters_pb2

ROOT = Path(__file__).resolve().parents[3]
PROTO = ROOT / "src" / "compile" / "plan" / "cpsat" / "cp_model.proto"
# Ours -> theirs.
MESSAGES = {
    "Model": cp_model_pb2.CpModelProto,
    "Variable": cp_model_pb2.IntegerVariableProto,
    "Constraint": cp_model_pb2.ConstraintProto,
    "Literals": cp_model_pb2.BoolArgumentProto,
    "Linear": cp_model_pb2.LinearConstraintProto,
    "Expression": cp_model_pb2.LinearExpressionProto,
    "Interval": cp_model_pb2.IntervalConstraintProto,
    "NoOverlap2d": cp_model_pb2.NoOverlap2DConstraintProto,
    "Cumulative": cp_model_pb2.CumulativeConstraintProto,
    "Objective": cp_model_pb2.CpObjectiveProto,
    "Assignment": cp_model_pb2.PartialVariableAssignment,
    "Response": cp_model_pb2.CpSolverResponse,
    "Parameters": sat_parameters_pb2.SatParameters,
}
Field = descriptor_pb2.FieldDescriptorProto


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    out = tmp_path_factory.mktemp("proto") / "cp_model.bin"
    subprocess.run(["protoc", f"--proto_path={PROTO.parent}", f"--descriptor_set_out={out}", PROTO.name], check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]


def test_cp_model__names_every_message(ours):
    assert {message.name for message in ours.message_type} == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_cp_model__fields_are_theirs(ours, name):
    mine = next(message for message in ours.message_type if message.name == name)
    proto = descriptor_pb2.DescriptorProto()
    MESSAGES[name].DESCRIPTOR.CopyToProto(proto)
    theirs = {field.name: field for field in proto.field}
    for field in mine.field:
        other = theirs[field.name]
        assert field.number == other.number, field.name
        assert (field.label == Field.LABEL_REPEATED) == (other.label == Field.LABEL_REPEATED), field.name
        if field.type == Field.TYPE_MESSAGE:
            wanted = MESSAGES[field.type_name.rsplit(".", 1)[1]].DESCRIPTOR.full_name
            assert other.type == Field.TYPE_MESSAGE and other.type_name == f".{wanted}", field.name
        else:
            kind = Field.TYPE_INT32 if other.type == Field.TYPE_ENUM else other.type
            assert field.type == kind, field.name
            if field.label == Field.LABEL_REPEATED:
                assert field.options.packed, field.name


def test_cp_model__statuses_are_theirs(ours):
    status = ours.enum_type[0]
    assert {value.name: value.number for value in status.value} == dict(cp_model_pb2.CpSolverStatus.items())
