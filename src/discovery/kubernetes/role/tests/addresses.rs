//! Addresses of services, and the pods behind them.

use super::*;

#[test]
fn endpoints_have_labels_of_their_service_and_of_the_pods_behind_them() {
    let endpoints = json!({
        "metadata": {"name": "web", "namespace": "ns", "labels": {"e": "1"}},
        "subsets": [{
            "addresses": [
                {"ip": "10.0.0.7", "nodeName": "n1", "targetRef": {"kind": "Pod", "namespace": "ns", "name": "web-5d8-x"}},
                {"ip": "10.0.0.8", "nodeName": "n2", "targetRef": {"kind": "Pod", "namespace": "ns", "name": "web-5d8-y"}},
                {"ip": "10.0.0.9", "nodeName": "n1", "targetRef": {"kind": "Pod", "namespace": "ns", "name": "unknown"}},
            ],
            "notReadyAddresses": [{"ip": "203.0.113.1", "hostname": "db-0"}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }],
    });
    let of_endpoints = ["endpoints_name=web", "endpoints_label_e=1", "endpoints_labelpresent_e=true"];
    let port = ["endpoint_port_name=http", "endpoint_port_protocol=TCP"];
    let with_pod = [
        "__address__=10.0.0.7:80",
        "endpoint_ready=true",
        "endpoint_node_name=n1",
        "endpoint_address_target_kind=Pod",
        "endpoint_address_target_name=web-5d8-x",
    ];
    let of_pod = &OF_POD[..11];
    let service_and = [of_endpoints.as_slice(), &OF_SERVICE].concat();
    let scene = Scene::default().with::<Pod>(&pod()).with::<Service>(&service());
    are(
        &scene.targets::<Endpoints>("endpoints/ns/web", &endpoints),
        &[
            &[service_and.as_slice(), of_pod, &APP, &port, &with_pod].concat(),
            &[
                service_and.as_slice(),
                &port,
                &["__address__=203.0.113.1:80", "endpoint_ready=false", "endpoint_hostname=db-0"],
            ]
            .concat(),
            &[service_and.as_slice(), of_pod, &SIDE].concat(),
        ],
    );
    let bare = Scene::default().targets::<Endpoints>("endpoints/ns/web", &endpoints);
    assert_eq!(bare.len(), 1, "without its pod an address has no logs");
    let elsewhere = json!({"metadata": {"name": "e", "namespace": "ns"}, "subsets": [{"addresses":
        [{"ip": "1", "nodeName": "n2"}], "ports": [{"port": 1}]}]});
    assert!(Scene::default().targets::<Endpoints>("", &elsewhere).is_empty(), "of another node's there is none");
}

/// A user who can write Endpoints in one namespace must not get pods of another.
#[test]
fn a_pod_of_another_namespace_is_behind_no_address() {
    let endpoints = |namespace: &str, target: Value| {
        let address = json!({"ip": "10.0.0.7", "nodeName": "n1", "targetRef": target});
        json!({"metadata": {"name": "web", "namespace": namespace},
            "subsets": [{"addresses": [address], "ports": [{"port": 80}]}]})
    };
    let slice = json!({
        "metadata": {"name": "web", "namespace": "thief"},
        "endpoints": [{"addresses": ["10.0.0.7"], "targetRef": {"kind": "Pod", "namespace": "ns", "name": "web-5d8-x"}}],
    });
    let scene = Scene::default().with::<Pod>(&pod());
    let named = json!({"kind": "Pod", "namespace": "ns", "name": "web-5d8-x"});
    assert!(scene.targets::<Endpoints>("endpoints/thief/web", &endpoints("thief", named.clone())).is_empty());
    assert!(scene.targets::<EndpointSlice>("endpointslice/thief/web", &slice).is_empty());
    for own in [named, json!({"kind": "Pod", "name": "web-5d8-x"})] {
        assert_eq!(scene.targets::<Endpoints>("endpoints/ns/web", &endpoints("ns", own)).len(), 2);
    }
}

#[test]
fn endpointslices_too() {
    let slice = json!({
        "metadata": {"name": "web-abc", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.0.0.7"], "nodeName": "n1", "zone": "z1", "hostname": "h",
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": "ns", "name": "web-5d8-x"},
                "deprecatedTopology": {"topology.kubernetes.io/region": "r"},
            },
            {"addresses": ["10.0.0.8"], "nodeName": "n2", "conditions": {}},
        ],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "h2c"}],
    });
    let of_slice = [
        "endpointslice_name=web-abc",
        "endpointslice_address_type=IPv4",
        "endpointslice_label_kubernetes_io_service_name=web",
        "endpointslice_labelpresent_kubernetes_io_service_name=true",
    ];
    let own = [
        "__address__=10.0.0.7:80",
        "endpointslice_address_target_kind=Pod",
        "endpointslice_address_target_name=web-5d8-x",
        "endpointslice_endpoint_conditions_ready=true",
        "endpointslice_endpoint_conditions_serving=true",
        "endpointslice_endpoint_conditions_terminating=false",
        "endpointslice_endpoint_hostname=h",
        "endpointslice_endpoint_node_name=n1",
        "endpointslice_endpoint_zone=z1",
        "endpointslice_endpoint_topology_topology_kubernetes_io_region=r",
        "endpointslice_endpoint_topology_present_topology_kubernetes_io_region=true",
        "endpointslice_port=80",
        "endpointslice_port_name=http",
        "endpointslice_port_protocol=TCP",
        "endpointslice_port_app_protocol=h2c",
    ];
    let common = [of_slice.as_slice(), &OF_SERVICE, &OF_POD[..11], &OF_NAMESPACE].concat();
    let node = json!({"metadata": {"name": "n1", "labels": {"pool": "a"}}});
    let of_node = ["node_name=n1", "node_label_pool=a", "node_labelpresent_pool=true"];
    let scene = Scene::default().with::<Pod>(&pod()).with::<Service>(&service()).with::<Namespace>(&namespace());
    let scene = scene.with::<Node>(&node).attach("{deployment: true}");
    let deployment = ["pod_deployment_name=web"];
    are(
        &scene.targets::<EndpointSlice>("endpointslice/ns/web-abc", &slice),
        &[
            &[common.as_slice(), &of_node, &deployment, &APP, &own].concat(),
            &[common.as_slice(), &of_node, &deployment, &SIDE].concat(),
        ],
    );
}

#[test]
fn what_one_object_comes_to_is_bounded() {
    let addresses: Vec<Value> = (0..1_000).map(|n| json!({"ip": format!("10.0.{n}.1")})).collect();
    let ports: Vec<Value> = (0..100).map(|n| json!({"port": n})).collect();
    let endpoints = json!({
        "metadata": {"name": "web", "namespace": "ns", "annotations": {"long": "x".repeat(200 << 10)}},
        "subsets": [{"addresses": addresses, "ports": ports}],
    });
    let mut object: Endpoints = parse(&endpoints);
    assert!(object.narrow("n1"));
    let (beside, attach) = (Beside::default(), AttachMetadata::default());
    let group = object.group(&With { reads: &everything(), attach: &attach, beside: &beside });
    assert_eq!((group.targets.len(), group.left_out.ports), (1_000, 99_000));
    assert!(group.targets[0].share(&group.targets[999]), "one copy of what they have in common");

    let paths: Vec<Value> = (0..900).map(|n| json!({"path": format!("/{n}")})).collect();
    let rules: Vec<Value> = (0..3).map(|n| json!({"host": format!("h{n}"), "http": {"paths": paths}})).collect();
    let ingress = json!({"metadata": {"name": "i", "namespace": "ns"}, "spec": {"rules": rules}});
    assert_eq!(Scene::default().targets::<Ingress>("ingress/ns/i", &ingress).len(), 1_000);
}
